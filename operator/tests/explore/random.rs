//! Numbers that look like chance and come from a seed, always the same ones: `SplitMix64`, so that a seed means the same with every version of
//! every library.

/// A stream of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The stream of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        // Seeds are small numbers one after the other; their streams must not look alike.
        let mut random = Self(seed.wrapping_mul(0xA076_1D64_78BD_642F));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `count`, which is not 0.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        let count = u64::try_from(count).unwrap();
        usize::try_from(self.next() % count).unwrap()
    }

    /// Whether one of `count` equal chances came.
    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// A number from 0.0 to 1.0.
    pub(crate) fn share(&mut self) -> f64 {
        f64::from(u16::try_from(self.next() >> 48).unwrap()) / f64::from(u16::MAX)
    }

    /// One of several.
    pub(crate) fn choose<T: Copy>(&mut self, several: &[T]) -> T {
        several[self.below(several.len())]
    }
}
