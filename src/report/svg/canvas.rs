//! One drawing: elements in the order in which they are painted.

use std::fmt::Write;

/// Where a text stands from its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The text begins at the point.
    Start,
    /// The text is centred on the point.
    Middle,
    /// The text ends at the point.
    End,
}

impl Anchor {
    fn as_str(self) -> &'static str {
        match self {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        }
    }
}

/// A drawing in the making; coordinates are units of its `viewBox`, y downwards.
pub struct Canvas {
    width: f64,
    height: f64,
    body: String,
}

impl Canvas {
    /// An empty drawing of `width` × `height` units.
    pub fn new(width: f64, height: f64) -> Self {
        Canvas { width, height, body: String::new() }
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(number);
        self.add(format_args!(r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#));
    }

    /// A path through `points`.
    pub fn path(&mut self, class: &str, points: &[(f64, f64)]) {
        let mut data = String::new();
        for (at, (x, y)) in points.iter().enumerate() {
            let command = if at == 0 { 'M' } else { 'L' };
            // Writing to a String cannot fail.
            let _ = write!(data, "{command}{} {}", number(*x), number(*y));
        }
        if points.len() > 1 {
            self.add(format_args!(r#"<path class="{class}" d="{data}"/>"#));
        }
    }

    /// A text; `y` is its base line.
    pub fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let (x, y, anchor, text) = (number(x), number(y), anchor.as_str(), escape(text));
        self.add(format_args!(
            r#"<text class="{class}" x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>"#
        ));
    }

    /// A text that reads upwards, centred on the point.
    pub fn upward_text(&mut self, class: &str, (x, y): (f64, f64), text: &str) {
        let (x, y, text) = (number(x), number(y), escape(text));
        self.add(format_args!(
            r#"<text class="{class}" transform="translate({x} {y}) rotate(-90)" text-anchor="middle">{text}</text>"#
        ));
    }

    /// A rectangle from its upper left corner; `title` shows when pointed at.
    pub fn rectangle(&mut self, class: &str, (x, y): (f64, f64), (w, h): (f64, f64), title: &str) {
        let ([x, y, w, h], title) = ([x, y, w, h].map(number), escape(title));
        self.add(format_args!(
            r#"<rect class="{class}" x="{x}" y="{y}" width="{w}" height="{h}"><title>{title}</title></rect>"#
        ));
    }

    /// A disc; `title` shows when pointed at.
    pub fn disc(&mut self, class: &str, (x, y): (f64, f64), radius: f64, title: &str) {
        let ([x, y, r], title) = ([x, y, radius].map(number), escape(title));
        self.add(format_args!(
            r#"<circle class="{class}" cx="{x}" cy="{y}" r="{r}"><title>{title}</title></circle>"#
        ));
    }

    fn add(&mut self, element: std::fmt::Arguments) {
        let _ = self.body.write_fmt(element);
        self.body.push('\n');
    }

    /// The whole `<svg>` element; `description` is what a screen reader says.
    pub fn finish(self, description: &str) -> String {
        let (w, h, label) = (number(self.width), number(self.height), escape(description));
        format!("<svg viewBox=\"0 0 {w} {h}\" role=\"img\" aria-label=\"{label}\">\n{}</svg>\n", self.body)
    }
}

/// `text` as it stands in XML and HTML, in an element or in a quoted attribute. Control characters, which no XML holds, are
/// replaced.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A coordinate with at most two decimals.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_short() {
        assert_eq!([0.0, -0.001, 1.5, 2.0, 100.0, 3.456].map(number), ["0", "0", "1.5", "2", "100", "3.46"]);
    }

    #[test]
    fn texts_are_escaped_wherever_they_stand() {
        let mut canvas = Canvas::new(10.0, 5.0);
        canvas.rectangle("a", (0.0, 0.0), (1.0, 1.0), "x < \"y\" & z\u{1}");
        let svg = canvas.finish("a \"b\"");
        assert!(svg.contains("<title>x &lt; &quot;y&quot; &amp; z\u{fffd}</title>"), "{svg}");
        assert!(svg.contains("aria-label=\"a &quot;b&quot;\""), "{svg}");
    }
}
