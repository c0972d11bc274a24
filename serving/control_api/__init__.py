"""The control API: what the controller sees, decides and does, over HTTP. `create_app` serves any `ControlView`."""
