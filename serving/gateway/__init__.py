"""The gateway: prompts enter here, each is sent to the replica where it costs least, and none is lost.

state.py and fleet.py decide and open no socket; flow.py, upstream.py, poller.py and app.py act.
"""
