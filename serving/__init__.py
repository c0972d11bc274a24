"""The data plane: gateway, node server, fork server, engines; and the control API."""
