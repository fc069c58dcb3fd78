//! What operator and sidecar say to each other.
