"""The dashboard's entry, run by `streamlit run`; see ui.launch."""

from __future__ import annotations

import streamlit as st

st.set_page_config(page_title="edgewise", page_icon=":material/hub:", layout="wide")
# Not in a folder named pages: streamlit would run those by itself when their address is opened first.
page = st.navigation(
    [
        st.Page("views/now.py", title="Now", icon=":material/monitoring:", url_path="now", default=True),
        st.Page("views/decisions.py", title="Decisions", icon=":material/alt_route:", url_path="decisions"),
        st.Page("views/intents.py", title="Intents", icon=":material/flag:", url_path="intents"),
    ],
    position="top",
)
st.title(f"edgewise · {page.title}", anchor=False)
page.run()
