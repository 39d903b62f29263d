//! Writes a document in one of the many ways to write the same document.

use crate::Source;

/// A document being written, in the way that the plan says.
pub struct Writer<'p, 'a> {
    pub out: String,
    plan: &'p mut Source<'a>,
    prefix: &'static str,
}

impl<'p, 'a> Writer<'p, 'a> {
    pub fn new(plan: &'p mut Source<'a>) -> Writer<'p, 'a> {
        let (mark, declaration) = (plan.flag(), plan.flag());
        let prefix = ["", "s3:", "x:"][usize::from(plan.byte() % 3)];
        let mut out = String::from(if mark { "\u{feff}" } else { "" });
        out += if declaration { "<?xml version=\"1.0\" encoding=\"UTF-8\"?>" } else { "" };
        Writer { out, plan, prefix }
    }

    /// Something between elements that means nothing.
    fn noise(&mut self) {
        self.out += match self.plan.byte() % 8 {
            0 => "\n  ",
            1 => "<!-- <Key>not a key</Key> -->",
            2 => "<?target data?>",
            3 => "\r\n",
            4 => "<![CDATA[ ]]>",
            _ => "",
        };
    }

    fn outer_noise(&mut self) {
        self.out += ["", "\n", "<!-- c -->", "<?p?>"][usize::from(self.plan.byte() % 4)];
    }

    fn open(&mut self, name: &str) {
        let attribute = ["", " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"", " a='>'", "\n"];
        let attribute = attribute[usize::from(self.plan.byte() % 4)];
        self.out += &format!("<{}{name}{attribute}>", self.prefix);
    }

    fn close(&mut self, name: &str) {
        let space = if self.plan.flag() { " " } else { "" };
        self.out += &format!("</{}{name}{space}>", self.prefix);
    }

    /// The one root.
    pub fn root(mut self, name: &str, inside: impl FnOnce(&mut Self)) -> String {
        self.outer_noise();
        self.element(name, inside);
        self.outer_noise();
        self.out
    }

    /// An element with children.
    pub fn element(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
        self.open(name);
        self.noise();
        inside(self);
        self.close(name);
    }

    /// An element with text, followed by noise.
    pub fn text(&mut self, name: &str, text: &str) {
        self.open(name);
        for character in text.chars() {
            let plain = !matches!(character, '<' | '>' | '&' | '\r');
            self.out += &match self.plan.byte() % 4 {
                0 => format!("&#{};", u32::from(character)),
                1 => format!("&#x{:x};", u32::from(character)),
                // Line ends are normalised unless they are written as character references.
                2 if character != ']' && character != '\r' => format!("<![CDATA[{character}]]>"),
                _ if plain => character.to_string(),
                _ => match character {
                    '<' => "&lt;".into(),
                    '>' => "&gt;".into(),
                    '&' => "&amp;".into(),
                    _ => "&#13;".into(),
                },
            };
        }
        self.close(name);
        self.noise();
    }
}

/// Text that XML 1.0 can hold, made from the fuzzer's bytes.
pub fn text(bytes: &[u8]) -> String {
    let holds = |c: &char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    String::from_utf8_lossy(bytes).chars().filter(holds).collect()
}

/// Text as an element's content, plainly.
pub fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '<' | '>' | '&' | '\r' | '\n' | '\t' | '"' | '\'' => {
                out += &format!("&#{};", u32::from(character))
            }
            other => out.push(other),
        }
    }
    out
}
