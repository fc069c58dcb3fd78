//! Answers that no store gives: XML that was made up, and not an honest answer that was damaged. A seed makes the same again.

use std::fmt::Write as _;

use bytes::Bytes;

use crate::seed::Dice;

/// What an answer claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// A listing of versions.
    Versions,
    /// A listing of keys and folders.
    Objects,
    /// An error.
    Error,
    /// Whether a bucket keeps versions.
    Versioning,
    /// How a bucket locks.
    Lock,
}

impl Root {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Versions,
        Self::Objects,
        Self::Error,
        Self::Versioning,
        Self::Lock,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Versions => "ListVersionsResult",
            Self::Objects => "ListBucketResult",
            Self::Error => "Error",
            Self::Versioning => "VersioningConfiguration",
            Self::Lock => "ObjectLockConfiguration",
        }
    }

    /// What stands in it, as a store would write it, with `text` where a store has words, a key or a number of its own.
    fn child(self, text: &str) -> String {
        match self {
            Self::Versions => format!(
                "<Version><Key>{text}</Key><VersionId>{text}</VersionId><IsLatest>true</IsLatest>\
                 <LastModified>{text}</LastModified><Size>{text}</Size></Version>"
            ),
            Self::Objects => format!(
                "<Contents><Key>{text}</Key><Size>{text}</Size></Contents>\
                 <CommonPrefixes><Prefix>{text}</Prefix></CommonPrefixes>"
            ),
            Self::Error => format!("<Code>{text}</Code><Message>{text}</Message>"),
            Self::Versioning => format!("<Status>{text}</Status>"),
            Self::Lock => format!(
                "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>{text}</Mode>\
                 <Days>{text}</Days></DefaultRetention></Rule>"
            ),
        }
    }

    /// The name of something that may stand in it many times, or once.
    const fn element(self) -> &'static str {
        match self {
            Self::Versions => "Version",
            Self::Objects => "CommonPrefixes",
            Self::Error => "Code",
            Self::Versioning => "Status",
            Self::Lock => "Rule",
        }
    }

    fn around(self, inner: &str) -> String {
        let name = self.name();
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{name}>{inner}</{name}>")
    }
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invention {
    /// Elements in elements in elements.
    Deep,
    /// The same, of which none ends.
    DeepAndOpen,
    /// One attribute, as long as a book.
    LongAttribute,
    /// Many attributes.
    ManyAttributes,
    /// Entities that stand for entities that stand for entities.
    Laughs,
    /// An entity that stands for a file, or for another server's answer.
    Outside,
    /// A character by its number, where there is none of it.
    NoSuchCharacter,
    /// Bytes of another encoding than the one that is named.
    WrongEncoding,
    /// What stands once stands many times, and says something else each time.
    Twice,
    /// What must stand there does not.
    Missing,
    /// Numbers that no number is.
    Numbers,
    /// Many elements with nothing in them.
    ManyEmpty,
    /// Many elements, each with a key.
    Many,
    /// Keys that are encoded in a way that nobody has asked for, or lead elsewhere.
    WrongKeys,
    /// Words as long as a book, with what fools a terminal.
    LongWords,
    /// Comments, instructions and sections where words should be.
    Sections,
    /// Another root, with what would stand in this one.
    WrongRoot,
}

impl Invention {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Deep,
        Self::DeepAndOpen,
        Self::LongAttribute,
        Self::ManyAttributes,
        Self::Laughs,
        Self::Outside,
        Self::NoSuchCharacter,
        Self::WrongEncoding,
        Self::Twice,
        Self::Missing,
        Self::Numbers,
        Self::ManyEmpty,
        Self::Many,
        Self::WrongKeys,
        Self::LongWords,
        Self::Sections,
        Self::WrongRoot,
    ];

    /// The most of what there is many of.
    pub const MOST: u64 = 100_000;

    /// An answer for a request below `prefix`, with as much of it as the dice say: mostly little, and now and then [`Self::MOST`].
    #[must_use]
    pub fn answer(self, root: Root, prefix: &str, dice: &mut Dice) -> Bytes {
        let exponent = 1 + dice.below(5);
        let most = 10_u64.pow(u32::try_from(exponent).unwrap_or(1));
        self.answer_of(1 + dice.below(most.min(Self::MOST)), root, prefix, dice)
    }

    /// The same, with so much of it.
    #[must_use]
    pub fn answer_of(self, count: u64, root: Root, prefix: &str, dice: &mut Dice) -> Bytes {
        let many = usize::try_from(count).unwrap_or(1);
        let element = root.element();
        let open = format!("<{element}>");
        let key = format!("{prefix}made-up");
        let text = match self {
            Self::Deep => root.around(&format!(
                "{}{}",
                open.repeat(many),
                format!("</{element}>").repeat(many)
            )),
            Self::DeepAndOpen => format!("<{}>{}", root.name(), open.repeat(many)),
            Self::LongAttribute => root.around(&format!("<{element} of=\"{}\"/>", "x".repeat(many * 16))),
            Self::ManyAttributes => {
                let attributes = numbered(many, |all, number| write!(all, " a{number}=\"\""));
                root.around(&format!("<{element}{attributes}/>"))
            }
            Self::Laughs => laughs(root, many),
            Self::Outside => {
                let place = pick(
                    &["file:///etc/passwd", "http://127.0.0.1:1/", "file:///dev/zero"],
                    dice,
                );
                format!(
                    "<?xml version=\"1.0\"?><!DOCTYPE r [<!ENTITY o SYSTEM \"{place}\">]><{0}>{1}</{0}>",
                    root.name(),
                    root.child("&o;")
                )
            }
            Self::NoSuchCharacter => {
                let character = pick(
                    &[
                        "&#0;",
                        "&#xD800;",
                        "&#x110000;",
                        "&#99999999999999999999;",
                        "&#x;",
                        "&;",
                        "&",
                    ],
                    dice,
                );
                root.around(&root.child(character))
            }
            Self::WrongEncoding => return wrong_encoding(root, &key, dice),
            _ => self.filled(many, root, prefix, dice),
        };
        Bytes::from(text)
    }

    /// An answer whose elements are those that it may have, and what fills them is not.
    fn filled(self, many: usize, root: Root, prefix: &str, dice: &mut Dice) -> String {
        let (element, key) = (root.element(), format!("{prefix}made-up"));
        match self {
            Self::Twice => {
                let twice = numbered(many.min(1_000), |all, number| {
                    write!(
                        all,
                        "<IsTruncated>{}</IsTruncated><NextKeyMarker>{key}{number}</NextKeyMarker>",
                        number % 2 == 0
                    )
                });
                let inner = root.child(&key).repeat(1 + many.min(1_000));
                format!(
                    "{}{}",
                    root.around(&format!("{twice}{inner}")),
                    root.around(&inner)
                )
            }
            Self::Missing => root.around(pick(
                &[
                    "",
                    "<IsTruncated>true</IsTruncated>",
                    "<Version/>",
                    "<Rule/>",
                    "<Code/>",
                ],
                dice,
            )),
            Self::Numbers => root.around(&root.child(pick(
                &[
                    "-1",
                    "1e309",
                    "9223372036854775808",
                    "NaN",
                    "0x10",
                    "٣",
                    "18446744073709551616",
                    "-9999-99-99T99:99:99Z",
                    "",
                ],
                dice,
            ))),
            Self::ManyEmpty => root.around(&format!("<{element}/>").repeat(many)),
            Self::Many => root.around(&numbered(many, |all, number| {
                write!(
                    all,
                    "<{element}><Key>{key}{number:08}</Key><Prefix>{key}{number:08}/</Prefix></{element}>"
                )
            })),
            Self::WrongKeys => {
                let wrong = pick(
                    &[
                        "%2F%2e%2e%2F",
                        "../../",
                        "\u{202e}txt",
                        "%ZZ",
                        "\\..\\",
                        "/",
                        "%00",
                    ],
                    dice,
                );
                let inner = root.child(&format!("{prefix}{wrong}"));
                root.around(&format!("<EncodingType>url</EncodingType>{inner}"))
            }
            Self::LongWords => root.around(&root.child(&"\u{9b}31m\u{7f}word ".repeat(many))),
            Self::Sections => root.around(&format!(
                "<!-- {0} --><?{1} x?><![CDATA[{0}]]>{2}",
                "x".repeat(many),
                element,
                root.child("<![CDATA[<Key>]]>")
            )),
            _ => Root::ALL[dice.place(Root::ALL.len())].around(&root.child(&key)),
        }
    }
}

/// So many pieces, one after the other.
fn numbered(many: usize, piece: impl Fn(&mut String, usize) -> std::fmt::Result) -> String {
    let mut all = String::new();
    for number in 0..many {
        // A string takes every write.
        let _ = piece(&mut all, number);
    }
    all
}

fn pick<'a>(of: &[&'a str], dice: &mut Dice) -> &'a str {
    of[dice.place(of.len())]
}

/// Ten of the one before in each, which would be ten billion in the tenth, or many side by side.
fn laughs(root: Root, many: usize) -> String {
    let names = 10 + many.min(1_000);
    let entities = numbered(names, |all, number| {
        let before = match number {
            0 => "ha".to_owned(),
            _ => format!("&l{};", number - 1).repeat(10),
        };
        write!(all, "<!ENTITY l{number} \"{before}\">")
    });
    let last = format!("&l{};", names - 1);
    format!(
        "<?xml version=\"1.0\"?><!DOCTYPE r [{entities}]><{0}>{1}</{0}>",
        root.name(),
        root.child(&last)
    )
}

fn wrong_encoding(root: Root, key: &str, dice: &mut Dice) -> Bytes {
    let text = root.around(&root.child(key));
    match dice.below(4) {
        // UTF-16, with its mark and a name that says otherwise.
        0 => {
            let units = std::iter::once(0xfeff).chain(text.encode_utf16());
            units.flat_map(u16::to_le_bytes).collect()
        }
        1 => text.replace("UTF-8", "UTF-32").into(),
        // No UTF-8 at all, in a word.
        2 => [root.around("").as_bytes(), &[0xff, 0xfe, 0xc0, 0x80]]
            .concat()
            .into(),
        _ => {
            let mut bytes = text.into_bytes();
            let place = dice.place(bytes.len());
            bytes[place] = 0xc3;
            bytes.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_invents_the_same_and_another_one_something_else() {
        let invent = |seed| {
            let mut dice = Dice::new(seed, "invented");
            Invention::ALL.map(|invention| invention.answer(Root::Versions, "a/", &mut dice))
        };
        assert!(invent(7) == invent(7));
        assert!(invent(7) != invent(8));
    }

    #[test]
    fn each_invention_can_be_had_of_each_answer() {
        let mut dice = Dice::new(7, "invented");
        for invention in Invention::ALL {
            for root in Root::ALL {
                let answer = invention.answer_of(100, root, "a/", &mut dice);
                assert!(answer.len() > 20, "{invention:?} {root:?}");
            }
        }
    }
}
