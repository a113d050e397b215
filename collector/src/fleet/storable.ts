/** What agents say of themselves, made such that the database takes it: an oddity is no reason to refuse a machine or its reports. */
import { TagName, TagValue, type Tags } from '@tidemark/protocol';
import { Value } from 'typebox/value';

/** PostgreSQL stores no NUL. */
export function storable(text: string): string {
  return text.includes('\0') ? text.replaceAll('\0', '\uFFFD') : text;
}

/** The tags that have the documented form. */
export function storableTags(tags: Tags): Tags {
  const names = Object.keys(tags).filter((name) => Value.Check(TagName, name) && Value.Check(TagValue, tags[name]));
  return Object.fromEntries(names.map((name) => [name, storable(tags[name]!)]));
}
