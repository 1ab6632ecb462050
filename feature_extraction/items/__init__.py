"""Items with their texts and pictures, out of lists, tables, folders and archives."""
