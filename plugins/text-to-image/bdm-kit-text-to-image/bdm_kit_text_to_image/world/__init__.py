"""The small world: captioned images of coloured shapes whose every attribute is known."""
