//! The one way amounts of bytes are written in resources: `512Ki`, `100Mi`, `200Gi`, `10Ti`.

use std::fmt;
use std::str::FromStr;

/// The pattern of an amount, as the resources' schemas hold it.
pub const PATTERN: &str = "^[1-9][0-9]{0,5}(Ki|Mi|Gi|Ti)$";

/// An amount of bytes between one kibibyte and 999,999 tebibytes. There is no zero: nothing in a resource is switched off by an amount
/// of nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(u64);

/// The text is not an amount of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is not an amount of bytes: write a whole number from 1 to 999999 and one of Ki, Mi, Gi or Ti, such as 200Gi"
)]
pub struct InvalidQuantity {
    text: String,
}

impl Quantity {
    /// The amount in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let invalid = || InvalidQuantity {
            text: text.chars().take(32).collect(),
        };
        let units = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40)];
        let (digits, shift) = units
            .into_iter()
            .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))
            .ok_or_else(invalid)?;
        let plain = (1..=6).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0');
        if !plain {
            return Err(invalid());
        }
        // Six digits and forty bits fit.
        digits
            .parse::<u64>()
            .map(|count| Self(count << shift))
            .map_err(|_| invalid())
    }
}

impl fmt::Display for Quantity {
    /// In the largest unit that gives a whole number.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
        match units
            .into_iter()
            .find(|(_, shift)| self.0.trailing_zeros() >= *shift)
        {
            Some((unit, shift)) => write!(formatter, "{}{unit}", self.0 >> shift),
            None => write!(formatter, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_what_kubernetes_means_by_it() {
        for (text, bytes) in [
            ("1Ki", 1_024),
            ("100Mi", 104_857_600),
            ("200Gi", 214_748_364_800),
            ("999999Ti", 999_999 << 40),
        ] {
            let amount: Quantity = text.parse().unwrap();
            assert_eq!((amount.bytes(), amount.to_string().as_str()), (bytes, text));
        }
        assert_eq!("1024Mi".parse::<Quantity>().unwrap().to_string(), "1Gi");
    }

    #[test]
    fn what_the_pattern_refuses_is_refused() {
        for text in [
            "",
            "Gi",
            "0Gi",
            "01Gi",
            "1000000Gi",
            "5",
            "5G",
            "5GB",
            "5 Gi",
            "+5Gi",
            "-1Gi",
            "1.5Gi",
            "٣Gi",
            "5gi",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?} was taken");
        }
    }
}
