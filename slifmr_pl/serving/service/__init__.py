"""`slifmr serve`: an export over HTTP, with numpy and without torch."""
