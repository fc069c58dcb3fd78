//! What tests share: real servers on loopback, and faults they will not produce on demand.

pub mod authority;
pub mod clock;
pub mod fabricated;
pub mod fault_proxy;
pub mod https;
pub mod invented_xml;
pub mod late;
pub mod many;
pub mod minio;
pub mod postgresql;
pub mod process;
pub mod provisioned;
pub mod seaweedfs;
pub mod seed;
pub mod sips;
