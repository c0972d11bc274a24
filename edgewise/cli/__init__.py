"""The command line. Imports lazily: `edgewise --help` must not wait for a framework."""
