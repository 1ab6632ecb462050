"""Files of items by their addresses on the web, fetched politely into a folder."""
