//! Lists whose items come once: every such list is written down, where they are few.

use serde_json::{Value, json};

use super::closed::MAX_OPTIONS;
use super::error::{ContractError, Pointer};
use super::keywords;
use super::places::Places;
use super::shapes::{ListRules, Shape};
use super::spelling::check_value;

/// Lists that are written down for one place.
const MAX_LISTS: usize = 1000;

/// The schema of the lists: in every order where these are few enough, else in the order of the schema.
///
/// # Errors
/// [`ContractError::Schema`]: the items cannot be listed, or there are too many lists.
pub(super) fn write(places: &Places, rules: &ListRules, at: &Pointer) -> Result<Value, ContractError> {
    let refused = || keywords::refused("uniqueItems", at);
    let items = rules.rest.as_ref().filter(|_| rules.first.is_empty()).ok_or_else(refused)?;
    let items = listed(places, places.id(items)).ok_or_else(refused)?;
    items.iter().try_for_each(|item| check_value(item, at))?;
    let most = rules.most.map_or(items.len(), |most| usize::try_from(most).unwrap_or(usize::MAX)).min(items.len());
    let least = usize::try_from(rules.least).unwrap_or(usize::MAX);
    if least > most {
        return Err(at.refused(format!("no answer can satisfy it: it needs {least} different items of {most}")));
    }
    let lists =
        arrangements(&items, least, most, Order::Any).or_else(|| arrangements(&items, least, most, Order::Given));
    Ok(json!({ "enum": lists.ok_or_else(refused)? }))
}

/// Every value of a place, where they can be listed.
fn listed(places: &Places, id: usize) -> Option<Vec<Value>> {
    let mut all = Vec::new();
    for shape in &places.get(id).domain.as_ref()?.shapes {
        match shape {
            Shape::Values(values) => all.extend(values.iter().map(|listed| listed.value.clone())),
            Shape::Number(rules) => all.extend(rules.listed(MAX_OPTIONS)?.into_iter().map(Value::from)),
            _ => return None,
        }
    }
    let mut unique: Vec<Value> = Vec::new();
    for value in all {
        if !unique.contains(&value) {
            unique.push(value);
        }
    }
    Some(unique)
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Any,
    Given,
}

/// The lists of `least` to `most` of the items, each at most once; `None` where there are too many.
fn arrangements(items: &[Value], least: usize, most: usize, order: Order) -> Option<Vec<Value>> {
    let mut all = Vec::new();
    let mut of_length: Vec<Vec<usize>> = vec![Vec::new()];
    for length in 0..=most {
        if length >= least {
            all.extend(of_length.iter().map(|list| list.iter().map(|&n| items[n].clone()).collect::<Value>()));
        }
        if length < most {
            let next = |list: &Vec<usize>| {
                let from = if order == Order::Any { 0 } else { list.last().map_or(0, |last| last + 1) };
                let list = list.clone();
                let with = |n: usize| list.iter().copied().chain([n]).collect::<Vec<usize>>();
                (from..items.len()).filter(|n| !list.contains(n)).map(with).collect::<Vec<_>>()
            };
            of_length = of_length.iter().flat_map(next).take(MAX_LISTS + 1).collect();
        }
        if all.len() > MAX_LISTS || of_length.len() > MAX_LISTS {
            return None;
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_lists_come_in_every_order_and_more_in_the_given_one() {
        let items = |n: i64| (1..=n).map(Value::from).collect::<Vec<_>>();
        let lists = arrangements(&items(2), 1, 2, Order::Any).unwrap();
        assert_eq!(json!(lists), json!([[1], [2], [1, 2], [2, 1]]));
        assert_eq!(arrangements(&items(8), 0, 8, Order::Given).unwrap().len(), 256);
        assert!(arrangements(&items(8), 0, 8, Order::Any).is_none());
        assert!(arrangements(&items(40), 0, 40, Order::Given).is_none());
    }
}
