"""The controller's plain functions and the ports they speak through. No framework is imported here."""
