"""What the pages share: the client, loading with errors shown as words, and refreshing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import streamlit as st

from edgewise.domain.errors import EdgewiseError
from serving.control_api.schema import RunState
from ui.api import ControlApi
from ui.settings import DEFAULT_API, ENV, REFRESH_S
from ui.words import whereabouts

T = TypeVar("T")


@st.cache_resource
def control_api(base_url: str) -> ControlApi:
    return ControlApi(base_url)


def api() -> ControlApi:
    """The client of the control API this dashboard shows."""
    return control_api(os.environ.get(ENV, DEFAULT_API))


def show(load: Callable[[ControlApi], tuple[RunState, T]], draw: Callable[[RunState, T], None]) -> None:
    """Loads all a page needs, then draws it; again every two seconds while anything may still change. What cannot
    be loaded is said in words, and the page goes on by itself once it can be."""
    control = api()
    first = [_attempt(load, control)]
    every = _refresh_s(first[0])

    def body() -> None:
        got = first.pop() if first else _attempt(load, control)
        if _refresh_s(got) != every:
            st.rerun()  # only a run of the whole page can start or end the refreshing
        if isinstance(got, EdgewiseError):
            problem(got)
        else:
            status(got[0])
            draw(*got)

    st.fragment(body, run_every=every)()


def _attempt(load: Callable[[ControlApi], tuple[RunState, T]], api: ControlApi) -> tuple[RunState, T] | EdgewiseError:
    try:
        return load(api)
    except EdgewiseError as error:
        return error


def _refresh_s(got: tuple[RunState, object] | EdgewiseError) -> float | None:
    return None if not isinstance(got, EdgewiseError) and got[0].finished else REFRESH_S


def problem(error: EdgewiseError) -> None:
    place = f"  \n`{error.where}`" if error.where else ""
    hint = f"  \n{error.hint[0].upper()}{error.hint[1:]}" if error.hint else ""
    st.warning(f"**{error.message[0].upper()}{error.message[1:]}.**{place}{hint}", icon=":material/cloud_off:")


def status(state: RunState) -> None:
    """The line under the title: which run, where in it, and what is special about it."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        live = state.source == "live" and not state.finished
        st.badge("live" if live else "stored", color="green" if live else "gray", icon=":material/sensors:")
        st.badge(f"mode {state.mode.value}", color="blue" if state.mode.value == "active" else "orange")
        if state.read_only:
            st.badge("read-only", color="gray", icon=":material/lock:")
        if state.approvals_waiting:
            st.badge(f"waits for you: {state.approvals_waiting}", color="violet", icon=":material/front_hand:")
        if state.lease_expired:
            st.badge("plan lease expired: routing by the last plan", color="red", icon=":material/timer_off:")
        st.caption(f"{whereabouts(state)} · `{state.run or 'no run directory'}`", width="content")
