"""What edgewise would have done for serving that exists already: recorded, calibrated, and run in the twin."""
