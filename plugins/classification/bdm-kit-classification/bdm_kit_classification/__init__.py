"""Kit: classifiers of pictures, and in time of text and sound: one engine, one module a modality."""
