//! From what a configuration says of a ledger to the values that judge it.

use dataembassy_contract::config::{self, Floor};
use dataembassy_contract::custodian::SignerConfig;
use dataembassy_ledger::chain::{CustodianKey, SignerRange};
use dataembassy_ledger::entry::EntryRef;
use dataembassy_ledger::value::{InvalidValue, Sequence};

/// A key and the entries that it may sign.
pub fn signer(config: &SignerConfig) -> Result<SignerRange, InvalidValue> {
    Ok(SignerRange {
        key: config.public_key.parse()?,
        from: Sequence::new(config.from_sequence)?,
        until: config.until_sequence.map(Sequence::new).transpose()?,
    })
}

/// Whose custody entries count for one registry.
pub fn custodians(keys: &[config::CustodianKey]) -> Result<Vec<CustodianKey>, InvalidValue> {
    let custodian = |key: &config::CustodianKey| {
        Ok(CustodianKey {
            key: key.public_key.parse()?,
            until: key.until_sequence.map(Sequence::new).transpose()?,
        })
    };
    keys.iter().map(custodian).collect()
}

/// The last head that is known.
pub fn floor(floor: Option<&Floor>) -> Result<Option<EntryRef>, InvalidValue> {
    let reference = |floor: &Floor| {
        Ok(EntryRef {
            sequence: Sequence::new(floor.sequence)?,
            digest: floor.digest.parse()?,
        })
    };
    floor.map(reference).transpose()
}
