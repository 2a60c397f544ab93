//! Reads `list`: see the README beside it.

/// One defence that is taken out.
pub struct Plant {
    pub name: String,
    pub takes_out: String,
    /// The attempts that must get through.
    pub through: Vec<String>,
    /// Attempts that must hold all the same, because there is another defence.
    pub holds: Vec<String>,
    /// What is planted, as the image reads it.
    pub text: String,
}

/// Reads the list.
///
/// # Errors
///
/// A line that says nothing, or a plant that lets nothing through.
pub fn read(text: &str) -> Result<Vec<Plant>, String> {
    let mut plants: Vec<Plant> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "plant" {
            let name = rest.to_owned();
            let (through, holds) = (Vec::new(), Vec::new());
            plants.push(Plant { name, takes_out: String::new(), through, holds, text: String::new() });
            continue;
        }
        let plant = plants.last_mut().ok_or_else(|| format!("line {number} belongs to no plant"))?;
        let files = || rest.split_whitespace().map(|file| format!("{file}.js"));
        match word {
            "without" => plant.takes_out = rest.to_owned(),
            "through" => plant.through.extend(files()),
            "holds" => plant.holds.extend(files()),
            "native" | "soft" | "in" | "-" | "+" => {
                plant.text.push_str(line);
                plant.text.push('\n');
            }
            _ => return Err(format!("line {number} of the list begins with {word:?}")),
        }
    }
    let idle =
        plants.iter().find(|plant| plant.takes_out.is_empty() || plant.through.is_empty() && plant.holds.is_empty());
    match idle {
        Some(plant) => Err(format!("{} does not say what it takes out, or what gets through", plant.name)),
        None => Ok(plants),
    }
}
