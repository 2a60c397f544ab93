//! Draws what `vat top` shows. Pure: from a model to a frame.

use super::model::{Column, HostRow, Model, Row};
use crate::output;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Cell, Paragraph, Row as TableRow, Table},
};

/// Lines for what is wrong, at most.
const COMPLAINTS: u16 = 6;

pub fn draw(frame: &mut Frame<'_>, model: &mut Model) {
    let (hosts, complaints) = match model.sample() {
        Some(sample) => (host_lines(&sample.hosts), sample.complaints.clone()),
        None => (Vec::new(), Vec::new()),
    };
    let below = u16::try_from(complaints.len()).unwrap_or(COMPLAINTS).min(COMPLAINTS);
    let above = u16::try_from(hosts.len()).unwrap_or(1);
    let [head, table, faults, keys] = Layout::vertical([
        Constraint::Length(above.min(frame.area().height / 3)),
        Constraint::Min(2),
        Constraint::Length(below),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(hosts), head);
    draw_table(frame, model, table);
    let wrong: Vec<Line<'_>> = complaints.iter().map(|text| Line::styled(format!("! {text}"), bad())).collect();
    frame.render_widget(Paragraph::new(wrong), faults);
    frame.render_widget(Paragraph::new(key_line(model)), keys);
}

/// Colour where people want it (<https://no-color.org>).
fn coloured(color: Color) -> Style {
    let without = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if without { Style::new() } else { Style::new().fg(color) }
}

fn bad() -> Style {
    coloured(Color::Red).add_modifier(Modifier::BOLD)
}

fn host_lines(hosts: &[HostRow]) -> Vec<Line<'static>> {
    let up = hosts.iter().filter(|host| host.is_up).count();
    let mut lines = vec![Line::from(format!("{up} of {} hosts are up", hosts.len())).style(Modifier::BOLD)];
    for host in hosts {
        let state = if host.is_up {
            let free = host.free_bytes.map_or(String::new(), |free| format!(", {} of disk left", output::bytes(free)));
            Span::raw(format!("up, {} of {} peers{free}", host.peers.0, host.peers.1))
        } else {
            Span::styled(host.state.clone(), bad())
        };
        lines.push(Line::from(vec![Span::raw(format!("  {:<12} ", host.name)), state]));
    }
    lines
}

fn draw_table(frame: &mut Frame<'_>, model: &mut Model, area: Rect) {
    let rows = model.rows();
    let room = usize::from(area.height.saturating_sub(1)).max(1);
    model.top = model.top.min(rows.len().saturating_sub(room.min(rows.len())));
    let head = Column::ALL.map(|column| {
        let mark = if column == model.sort { if model.reversed { " ^" } else { " v" } } else { "" };
        Cell::from(format!("{}{mark}", column.head()))
    });
    let widths = Column::ALL.map(|column| match column {
        Column::Vat | Column::Host => Constraint::Min(10),
        Column::Role => Constraint::Length(10),
        Column::Fuel | Column::Heap | Column::Blocks | Column::Unacknowledged => Constraint::Length(10),
        _ => Constraint::Length(8),
    });
    let shown = rows.iter().skip(model.top).take(room).map(table_row);
    let table = Table::new(shown, widths).header(TableRow::new(head).style(Modifier::REVERSED)).column_spacing(1);
    frame.render_widget(table, area);
}

fn table_row(row: &Row) -> TableRow<'static> {
    let rate = |rate: Option<f64>| rate.map_or("-".to_owned(), |rate| format!("{rate:.1}"));
    let cells = [
        row.vat.clone(),
        row.host.clone(),
        row.role.clone(),
        row.block.to_string(),
        rate(row.blocks),
        rate(row.deliveries),
        row.fuel.map_or("-".to_owned(), short),
        output::bytes(row.heap),
        row.lag.to_string(),
        row.margin.map_or("-".to_owned(), |margin| margin.to_string()),
        row.unacknowledged.to_string(),
    ];
    let style = match (&row.wrong, row.role.as_str(), row.margin) {
        (Some(_), ..) => bad(),
        (None, "removed", _) => Style::new().add_modifier(Modifier::DIM),
        (None, _, Some(0)) => coloured(Color::Yellow),
        (None, "leader", _) => coloured(Color::Green),
        _ => Style::new(),
    };
    TableRow::new(cells).style(style)
}

/// A figure with a unit of thousands.
fn short(figure: f64) -> String {
    const UNITS: [&str; 5] = ["", "k", "M", "G", "T"];
    let (mut rest, mut unit) = (figure, 0);
    while rest >= 1_000.0 && unit + 1 < UNITS.len() {
        rest /= 1_000.0;
        unit += 1;
    }
    if unit == 0 { format!("{rest:.0}") } else { format!("{rest:.1}{}", UNITS[unit]) }
}

fn key_line(model: &Model) -> String {
    if let Some(typed) = &model.typing {
        return format!("filter: {typed}_   (Enter keeps it, Esc clears it)");
    }
    let filter = if model.filter.is_empty() { String::new() } else { format!(" [{}]", model.filter) };
    let wrong = if model.only_wrong { "all" } else { "only what is wrong" };
    format!("q quit  s/S sort by {}  r reverse  / filter{filter}  f {wrong}  arrows move", model.sort.head())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::model::tests::sample;
    use ratatui::{Terminal, backend::TestBackend};
    use std::time::Instant;

    fn screen(model: &mut Model, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("in memory");
        terminal.draw(|frame| draw(frame, model)).expect("in memory");
        let buffer = terminal.backend().buffer().clone();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| line(y).trim_end().to_owned()).collect()
    }

    #[test]
    fn a_screen_has_hosts_replicas_what_is_wrong_and_the_keys() {
        let mut model = Model::new(String::new());
        model.take(sample(Instant::now(), &[("one", "alpha", 41, 0.0, 0, 1), ("two", "alpha", 7, 0.0, 5, -1)]));
        let lines = screen(&mut model, 120, 12);
        assert_eq!(lines[0], "1 of 1 hosts are up");
        assert!(lines[1].contains("alpha") && lines[1].contains("2 of 3 peers, 1.0 GiB"), "{lines:#?}");
        assert!(lines[2].starts_with("VAT v") && lines[2].contains("MARGIN"), "{lines:#?}");
        assert!(lines[3].starts_with("one") && lines[3].contains("41"), "{lines:#?}");
        assert!(lines[4].starts_with("two") && lines[4].contains("-1"), "{lines:#?}");
        assert_eq!(lines[10], "! two: too few");
        assert!(lines[11].starts_with("q quit"), "{lines:#?}");
    }

    #[test]
    fn a_small_screen_shows_what_it_can() {
        let mut model = Model::new(String::new());
        let names: Vec<String> = (0..50).map(|number| format!("vat-{number:02}")).collect();
        let rows: Vec<_> = names.iter().map(|name| (name.as_str(), "alpha", 1, 0.0, 0, 1)).collect();
        model.take(sample(Instant::now(), &rows));
        for (width, height) in [(1, 1), (20, 3), (80, 6), (200, 100)] {
            screen(&mut model, width, height);
        }
        model.move_by(60);
        let lines = screen(&mut model, 100, 12);
        assert!(lines.iter().any(|line| line.starts_with("vat-49")), "{lines:#?}");
    }

    #[test]
    fn large_figures_are_short() {
        assert_eq!([0.0, 999.0, 1_500.0, 2e6, 3.25e9].map(short), ["0", "999", "1.5k", "2.0M", "3.2G"]);
    }
}
