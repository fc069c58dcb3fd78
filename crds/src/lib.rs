//! The custom resources of DataEmbassy.
