//! Writing an inventory, line by line.

use super::{End, FORMAT, Header, Line, MAX_LINE_BYTES, MAX_PART_BYTES, MAX_PLAIN_BYTES};
use crate::key::CopyRecipient;
use crate::sealing::{CompressionLevel, SealError, SealWriter, Sealed};

/// At this size a part is cut. The distance to [`MAX_PART_BYTES`] covers one more line and what the compressor holds back.
const TARGET_PART_BYTES: u64 = 4 * 1024 * 1024;

/// Writes an inventory. Put the parts in the order they come.
pub struct InventoryWriter {
    recipient: CopyRecipient,
    level: CompressionLevel,
    part: SealWriter,
    line: Vec<u8>,
    sums: End,
    target: u64,
}

impl InventoryWriter {
    /// Begins an inventory with its header line. Its `format` is set here.
    pub fn new(
        recipient: &CopyRecipient,
        level: CompressionLevel,
        header: Header,
    ) -> Result<Self, SealError> {
        Self::with_part_bytes(recipient, level, header, TARGET_PART_BYTES)
    }

    /// Begins an inventory whose parts are cut earlier; the format's limits still hold.
    pub fn with_part_bytes(
        recipient: &CopyRecipient,
        level: CompressionLevel,
        mut header: Header,
        target: u64,
    ) -> Result<Self, SealError> {
        let part = SealWriter::new(recipient, level, 0)?;
        let target = target.min(TARGET_PART_BYTES);
        let (recipient, line, sums) = (recipient.clone(), Vec::new(), End::default());
        let mut writer = Self {
            recipient,
            level,
            part,
            line,
            sums,
            target,
        };
        FORMAT.clone_into(&mut header.format);
        writer.write(&Line::Header(Box::new(header)))?;
        Ok(writer)
    }

    /// Adds a line. Returns a part when one is full.
    pub fn push(&mut self, line: &Line) -> Result<Option<Sealed>, SealError> {
        if matches!(line, Line::Header(_) | Line::End(_)) {
            return Err(SealError::LineOutOfPlace);
        }
        let cut = if is_full(self.part.sealed_bytes(), self.part.plain_bytes(), self.target) {
            let next = SealWriter::new(&self.recipient, self.level, 0)?;
            Some(std::mem::replace(&mut self.part, next).finish(MAX_PART_BYTES)?)
        } else {
            None
        };
        self.write(line)?;
        Ok(cut)
    }

    fn write(&mut self, line: &Line) -> Result<(), SealError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        if self.line.len() > MAX_LINE_BYTES {
            return Err(SealError::LineTooLong {
                size: self.line.len(),
                max: MAX_LINE_BYTES,
            });
        }
        self.sums.count(line);
        self.part.write(&self.line)
    }

    /// The sums so far.
    #[must_use]
    pub const fn sums(&self) -> End {
        self.sums
    }

    /// Writes the end line; returns the last part.
    pub fn finish(mut self) -> Result<Sealed, SealError> {
        self.write(&Line::End(self.sums))?;
        self.part.finish(MAX_PART_BYTES)
    }
}

/// Whether a part is to be cut before another line: its target is reached, or the longest line could pass what readers expand.
const fn is_full(sealed: u64, plain: u64, target: u64) -> bool {
    sealed >= target || plain + MAX_LINE_BYTES as u64 > MAX_PLAIN_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_cut_at_its_target_and_before_the_longest_line_could_be_one_too_many() {
        let last = MAX_PLAIN_BYTES - MAX_LINE_BYTES as u64;
        for (sealed, plain, expected) in [
            (99, 0, false),
            (100, 0, true),
            (0, last - 1, false),
            (0, last, false),
            (0, last + 1, true),
            (100, last + 1, true),
        ] {
            assert_eq!(is_full(sealed, plain, 100), expected, "{sealed} {plain}");
        }
    }
}
