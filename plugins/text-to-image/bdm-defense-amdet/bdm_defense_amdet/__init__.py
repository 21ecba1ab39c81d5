"""Defense: AMDet, detection of backdoored text encoders by inversion of a pseudo token."""
