/** The layers of a rule from the least to the most specific, each with what it sets. What a rule is, and its texts, are shown elsewhere. */
import type { RuleView } from '@tidemark/protocol';
import type { JSX } from 'preact';

const SAID_ELSEWHERE = /^(?:kind|title|metric|observation|runbook|annotations)\b/;

/** What decides how it is judged; the rest of what a layer sets is said elsewhere on the page. */
export function decisive(sets: readonly string[]): string[] {
  return sets.filter((each) => !SAID_ELSEWHERE.test(each));
}

export function Layers({ layers, caption }: { layers: RuleView['layers']; caption: JSX.Element | string }): JSX.Element {
  return (
    <table class="layers">
      <caption class="muted">{caption}</caption>
      <tbody>
        {layers.map((layer) => (
          <tr key={`${layer.layer} ${layer.selector} ${layer.source}`}>
            <th scope="row">
              {layer.selector === '' ? layer.layer : layer.selector}
              {layer.source === 'shipped' ? null : <span class="muted layer-source">{layer.source}</span>}
            </th>
            <td>
              <ul class="layer-sets code">
                {decisive(layer.sets).map((each) => (
                  <li key={each}>{each}</li>
                ))}
              </ul>
              {decisive(layer.sets).length === 0 ? <span class="muted">texts alone</span> : null}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
