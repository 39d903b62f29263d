//! Part numbers, validated once at the edge: code that holds one need not check it again.

use crate::error::{Code, S3Error};
use crate::limits::PART_NUMBER_MAX;

/// A part's number: 1 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartNumber(u16);

impl PartNumber {
    /// Parses a number, as in a query; InvalidArgument if it is not one.
    pub fn parse(text: &str) -> Result<PartNumber, S3Error> {
        text.parse().ok().and_then(PartNumber::new).ok_or_else(|| PartNumber::refusal(text))
    }

    /// The number, if it is a valid one.
    pub fn new(number: i64) -> Option<PartNumber> {
        let number = u16::try_from(number).ok()?;
        (1..=PART_NUMBER_MAX).contains(&u32::from(number)).then_some(PartNumber(number))
    }

    /// The refusal of an invalid number.
    pub fn refusal(text: &str) -> S3Error {
        Code::InvalidArgument
            .with("Part number must be an integer between 1 and 10000, inclusive")
            .field("ArgumentName", "partNumber")
            .field("ArgumentValue", text)
    }

    /// The number in the type that row keys and partitions use.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl From<PartNumber> for u32 {
    fn from(number: PartNumber) -> u32 {
        u32::from(number.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_numbers_lie_between_1_and_10_000() {
        for number in [1, 2, 10_000] {
            assert_eq!(PartNumber::parse(&number.to_string()).map(u32::from), Ok(number));
        }
        for text in ["", "0", "-1", "10001", "65537", "99999999999999999999", "1.0", "x", " 1"] {
            assert_eq!(PartNumber::parse(text).unwrap_err().code(), Code::InvalidArgument, "{text:?}");
        }
    }
}
