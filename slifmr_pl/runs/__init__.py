"""What a run leaves behind: its folder, written whole and read back."""
