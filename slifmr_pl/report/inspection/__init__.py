"""What a data folder holds, before anything is trained."""
