//! A page of a list, as OpenAI's clients ask for one and read it.

use serde_json::{Value, json};

use crate::api::problem::Problem;

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    limit: usize,
    after: Option<String>,
    is_oldest_first: bool,
    pub purpose: Option<String>,
}

impl ListPage {
    /// Reads a query; what it does not know it ignores, as OpenAI does.
    ///
    /// # Errors
    /// A number or an order that there is not.
    pub fn read(query: Option<&str>, usual: usize, max: usize) -> Result<ListPage, Problem> {
        let mut page = ListPage { limit: usual, after: None, is_oldest_first: false, purpose: None };
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=max).contains(limit));
                    let shown: String = value.chars().take(60).collect();
                    let wrong = || Problem::invalid(format!("`limit` is `{shown}`; give 1 to {max}")).of("limit");
                    page.limit = limit.ok_or_else(wrong)?;
                }
                "after" if !value.is_empty() => page.after = Some(value.to_owned()),
                "order" => match value {
                    "asc" => page.is_oldest_first = true,
                    "desc" => page.is_oldest_first = false,
                    _ => return Err(Problem::invalid("`order` is `asc` or `desc`").of("order")),
                },
                "purpose" if !value.is_empty() => page.purpose = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(page)
    }
}

/// The page of a list that is given with the oldest first.
#[must_use]
pub fn listed(mut all: Vec<Value>, page: &ListPage) -> Value {
    if !page.is_oldest_first {
        all.reverse();
    }
    let begin = page
        .after
        .as_deref()
        .map_or(0, |after| all.iter().position(|one| one["id"] == after).map_or(all.len(), |at| at + 1));
    let mut data: Vec<Value> = all.into_iter().skip(begin).collect();
    let has_more = data.len() > page.limit;
    data.truncate(page.limit);
    let id = |one: Option<&Value>| one.map(|one| one["id"].clone());
    let (first_id, last_id) = (id(data.first()), id(data.last()));
    json!({ "object": "list", "data": data, "has_more": has_more, "first_id": first_id, "last_id": last_id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let all: Vec<Value> = (1..=5).map(|n| json!({ "id": format!("b{n}") })).collect();
        let page = |query: &str| {
            let page = listed(all.clone(), &ListPage::read(Some(query), 20, 100).unwrap());
            let ids: Vec<String> = page["data"].as_array().unwrap().iter().map(|one| one["id"].to_string()).collect();
            (ids.join(","), page["has_more"].as_bool().unwrap())
        };
        assert_eq!(page("limit=2"), ("\"b5\",\"b4\"".to_owned(), true));
        assert_eq!(page("limit=3&after=b4"), ("\"b3\",\"b2\",\"b1\"".to_owned(), false));
        assert_eq!(page("order=asc&limit=1"), ("\"b1\"".to_owned(), true));
        assert_eq!(page("after=b1"), (String::new(), false));
        assert_eq!(page("after=gone"), (String::new(), false));
        let refused = |query: &str| ListPage::read(Some(query), 20, 100).unwrap_err().message;
        assert_eq!(refused("limit=0"), "`limit` is `0`; give 1 to 100");
        assert_eq!(refused("limit=x"), "`limit` is `x`; give 1 to 100");
        assert_eq!(refused("order=up"), "`order` is `asc` or `desc`");
    }
}
