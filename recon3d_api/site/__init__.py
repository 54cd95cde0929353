"""The service's page for people: static files that use the documented API alone."""
