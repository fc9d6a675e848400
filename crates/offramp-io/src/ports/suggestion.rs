// SPDX-License-Identifier: Apache-2.0
//! What somebody may have meant who wrote a name that there is not.

/// The alternatives to `name`: the nearest one, if one is near, and the whole list.
#[must_use]
pub fn suggestion(name: &str, known: &[&str], what: &str) -> String {
    let near = known.iter().map(|known| (distance(name, known), known));
    let nearest = near.filter(|&(edits, known)| edits <= 1 + known.len() / 3).min();
    let meant = nearest.map(|(_, known)| format!("did you mean {known:?}?"));
    let listed = match (what, known) {
        ("", _) => None,
        (what, []) => Some(format!("it has no {what}")),
        (what, known) => Some(format!("{what}: {}", known.join(", "))),
    };
    [meant, listed].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// How many letters have to be added, left out or replaced; two neighbours that changed places count once (optimal
/// string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut table = vec![vec![0; other.len() + 1]; one.len() + 1];
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            table[i][j] = match (i, j) {
                (0, edits) | (edits, 0) => edits,
                _ => {
                    let replaced = table[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
                    let mut least = replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                    if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                        least = least.min(table[i - 2][j - 2] + 1);
                    }
                    least
                }
            };
        }
    }
    table[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_suggested() {
        let known = ["af_xdp", "loop", "null"];
        assert_eq!(
            suggestion("nul", &known, "kinds"),
            "did you mean \"null\"? kinds: af_xdp, loop, null"
        );
        assert_eq!(suggestion("afxdp", &known, ""), "did you mean \"af_xdp\"?");
        assert_eq!(suggestion("zzzzzz", &known, "kinds"), "kinds: af_xdp, loop, null");
        assert_eq!(suggestion("x", &[], "options"), "it has no options");
        assert_eq!(
            (distance("cpoy", "copy"), distance("", "abc"), distance("same", "same")),
            (1, 3, 0)
        );
    }
}
