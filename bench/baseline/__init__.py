"""The baseline: notifications as an ordinary Django project does them, with Channels and DRF."""
