"""What differs between pictures, text and sound."""
