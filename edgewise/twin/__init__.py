"""The digital twin: a discrete-event simulator that runs the policy kernels of gateway and node."""
