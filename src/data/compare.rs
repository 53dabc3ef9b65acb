//! What `sync` must do: the differences between two listings, which come in the same order.

use std::cmp::Ordering;

use futures::stream::{self, BoxStream, Peekable, StreamExt};

use super::{Fault, Item, Listed};

/// One difference.
#[derive(Debug)]
pub enum Difference {
    /// The source has it; the target does not, or has another.
    Copy(Item, Option<Item>),
    /// Both have it, and it is the same by size and time.
    Same(Item, Item),
    /// Only the target has it.
    Extra(Item),
    /// What could not be listed.
    Failed(String, Fault),
}

/// Which times count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Size, and whether the source is newer than the target.
    Newer,
    /// Only the size: the content is compared afterwards.
    Size,
}

/// The differences between a source and a target. Of neither more than one page is in memory.
pub fn differences(
    source: BoxStream<'static, Listed>,
    target: BoxStream<'static, Listed>,
    compare: Compare,
) -> BoxStream<'static, Difference> {
    let both = (source.peekable(), target.peekable());
    stream::unfold(both, move |(mut source, mut target)| async move {
        let next = next(&mut source, &mut target, compare).await?;
        Some((next, (source, target)))
    })
    .boxed()
}

type Side = Peekable<BoxStream<'static, Listed>>;

async fn next(source: &mut Side, target: &mut Side, compare: Compare) -> Option<Difference> {
    let order = match (peek(source).await, peek(target).await) {
        (None, None) => return None,
        (Some(Err(())), _) | (Some(Ok(_)), None) => Ordering::Less,
        (_, Some(Err(()))) | (None, Some(Ok(_))) => Ordering::Greater,
        (Some(Ok(source)), Some(Ok(target))) => source.cmp(&target),
    };
    let of_source = if order == Ordering::Greater { None } else { source.next().await };
    let of_target = if order == Ordering::Less { None } else { target.next().await };
    Some(match (of_source, of_target) {
        (Some(Err((name, fault))), _) | (_, Some(Err((name, fault)))) => Difference::Failed(name, fault),
        (Some(Ok(source)), Some(Ok(target))) => {
            let newer = compare == Compare::Newer && source.modified > target.modified;
            if source.size != target.size || newer {
                Difference::Copy(source, Some(target))
            } else {
                Difference::Same(source, target)
            }
        }
        (Some(Ok(source)), None) => Difference::Copy(source, None),
        (None, Some(Ok(target))) => Difference::Extra(target),
        (None, None) => return None,
    })
}

/// The name of the next item, or that there is a fault.
async fn peek(side: &mut Side) -> Option<Result<String, ()>> {
    let next = std::pin::Pin::new(side).peek().await?;
    Some(next.as_ref().map(|item| item.name.clone()).map_err(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Origin;

    fn listed(items: &[(&str, u64, i64)]) -> BoxStream<'static, Listed> {
        let item = |&(name, size, modified): &(&str, u64, i64)| {
            Ok(Item { name: name.to_owned(), origin: Origin::File(name.into()), size, modified })
        };
        stream::iter(items.iter().map(item).collect::<Vec<_>>()).boxed()
    }

    async fn told(compare: Compare) -> Vec<String> {
        let source = listed(&[("a", 1, 5), ("b", 1, 5), ("c", 1, 9), ("d", 2, 5), ("f", 1, 1)]);
        let target = listed(&[("0", 1, 1), ("b", 1, 5), ("c", 1, 5), ("d", 1, 5), ("e", 1, 1)]);
        let word = |difference| match difference {
            Difference::Copy(item, None) => format!("new {}", item.name),
            Difference::Copy(item, Some(_)) => format!("changed {}", item.name),
            Difference::Same(item, _) => format!("same {}", item.name),
            Difference::Extra(item) => format!("extra {}", item.name),
            Difference::Failed(name, fault) => format!("{name}: {fault}"),
        };
        differences(source, target, compare).map(word).collect().await
    }

    #[tokio::test]
    async fn each_name_is_compared_once() {
        let expected = ["extra 0", "new a", "same b", "changed c", "changed d", "extra e", "new f"];
        assert_eq!(told(Compare::Newer).await, expected);
        assert_eq!(told(Compare::Size).await[3], "same c");
    }
}
