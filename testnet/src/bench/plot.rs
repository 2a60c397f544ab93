//! Pictures of curves, as SVG: panels below each other, each with lines over one axis.

use std::fmt::{Error, Write as _};

/// A picture's part with axes of its own.
pub struct Panel {
    pub title: String,
    /// What is to the right, with its unit.
    pub across: String,
    /// To the right each step is ten times the one before.
    pub logarithmic: bool,
    pub lines: Vec<Line>,
}

/// A line's name, and its points from left to right.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// Colours of lines, told apart on light ground, also by those who can't tell red from green.
const COLOURS: [&str; 6] = ["#1f77b4", "#d95f02", "#117733", "#9467bd", "#8c564b", "#444444"];
/// A panel's own size, and the room for what is written around it.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 40.0;
const GAP: f64 = 90.0;
/// Room of a line's name.
const NAME: f64 = 160.0;

/// Draws panels. The text is the same for the same values.
///
/// # Errors
/// None: writing to a string does not fail.
pub fn picture(panels: &[Panel]) -> Result<String, Error> {
    let (width, height) = (LEFT + WIDTH + 30.0, TOP + panels.len() as f64 * (HEIGHT + GAP));
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (place, panel) in panels.iter().enumerate() {
        draw(&mut text, panel, TOP + place as f64 * (HEIGHT + GAP))?;
    }
    text.push_str("</svg>\n");
    Ok(text)
}

fn draw(text: &mut String, panel: &Panel, top: f64) -> Result<(), Error> {
    let points = || panel.lines.iter().flat_map(|line| line.points.iter().copied());
    let most = round_up(points().map(|(_, y)| y).fold(0.0, f64::max));
    let scale = Scale::new(points().map(|(x, _)| x), panel.logarithmic);
    let bottom = top + HEIGHT;
    writeln!(text, "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}</text>", top - 10.0, escaped(&panel.title))?;
    for step in 0..=4 {
        let (y, value) = (bottom - HEIGHT * f64::from(step) / 4.0, most * f64::from(step) / 4.0);
        writeln!(text, "<path d=\"M{LEFT} {y}h{WIDTH}\" stroke=\"#ccc\"/>")?;
        writeln!(text, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>", LEFT - 8.0, y + 4.0, number(value))?;
    }
    for x in scale.marks() {
        let at = LEFT + scale.share(x) * WIDTH;
        writeln!(text, "<path d=\"M{at:.1} {bottom}v5\" stroke=\"#888\"/>")?;
        writeln!(text, "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>", bottom + 18.0, number(x))?;
    }
    let across = escaped(&panel.across);
    writeln!(text, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{across}</text>", LEFT + WIDTH, bottom + 36.0)?;
    for (at, (line, colour)) in panel.lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let place = |(x, y): &(f64, f64)| (LEFT + scale.share(*x) * WIDTH, bottom - HEIGHT * y / most);
        let points: Vec<(f64, f64)> = line.points.iter().map(place).collect();
        let joined: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let joined = joined.join(" ");
        writeln!(text, "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{joined}\"/>")?;
        // Few points are seen one by one.
        if points.len() <= 12 {
            for (x, y) in points {
                writeln!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>")?;
            }
        }
        let (x, y) = (LEFT + NAME * (at % 3) as f64, bottom + 36.0 + 16.0 * (at / 3) as f64);
        writeln!(text, "<text x=\"{x}\" y=\"{y}\" fill=\"{colour}\">{}</text>", escaped(&line.name))?;
    }
    Ok(())
}

/// Where things are to the right.
struct Scale {
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Scale {
    fn new(values: impl Iterator<Item = f64> + Clone, logarithmic: bool) -> Scale {
        let to = values.clone().fold(0.0, f64::max);
        let from = if logarithmic { values.fold(to, f64::min).max(f64::MIN_POSITIVE) } else { 0.0 };
        Scale { from, to: if to > from { to } else { from + 1.0 }, logarithmic }
    }

    fn share(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        }
    }

    fn marks(&self) -> Vec<f64> {
        if !self.logarithmic {
            return (0..=4).map(|step| self.to * f64::from(step) / 4.0).collect();
        }
        let tens = std::iter::successors(Some(10_f64.powf(self.from.log10().floor())), |mark| Some(mark * 10.0));
        let between =
            tens.take_while(|mark| *mark <= self.to).filter(|mark| *mark > self.from * 1.5 && *mark < self.to / 1.5);
        std::iter::once(self.from).chain(between).chain([self.to]).collect()
    }
}

/// The next number of the form 1, 2, 4 or 8 times a power of ten: an axis that ends there has round marks.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 8.0, 10.0].into_iter().map(|times| times * power).find(|round| *round >= value).unwrap_or(value)
}

/// At most three digits that matter.
fn number(value: f64) -> String {
    let short = |value: f64| {
        let text = if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    };
    if value >= 1_000_000.0 {
        format!("{}M", short(value / 1_000_000.0))
    } else if value >= 10_000.0 {
        format!("{}k", short(value / 1_000.0))
    } else {
        short(value)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_where_their_values_are() {
        let line = Line { name: "calls < 1".into(), points: vec![(1.0, 0.0), (10.0, 2.0), (100.0, 4.0)] };
        let panel = Panel { title: "a & b".into(), across: "vats".into(), logarithmic: true, lines: vec![line] };
        let text = picture(&[panel]).expect("it is a string");
        assert!(text.contains("points=\"70.0,240.0 390.0,140.0 710.0,40.0\""), "{text}");
        assert!(text.contains("a &amp; b") && text.contains("calls &lt; 1"));
        let marks: Vec<String> = Scale::new([1.0, 1_000.0].into_iter(), true).marks().into_iter().map(number).collect();
        assert_eq!(marks, ["1", "10", "100", "1000"]);
    }

    #[test]
    fn numbers_are_short() {
        let shown = [(0.25, "0.25"), (100.0, "100"), (1_234.0, "1234"), (16_384.0, "16.38k"), (1e6, "1M"), (0.0, "0")];
        for (value, text) in shown {
            assert_eq!(number(value), text);
        }
        assert_eq!([0.3, 3.0, 120.0, 0.0].map(round_up), [0.4, 4.0, 200.0, 1.0]);
    }
}
