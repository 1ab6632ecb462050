"""Feature stores: folders of one array, its ids and a manifest; written whole, verified."""
