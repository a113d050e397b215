/** The words under the time axis, in the viewer's zone: clock times, and the date where a day begins. */
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const pad = (value: number): string => String(value).padStart(2, '0');

/** @param increment how far the ticks lie apart, in seconds. */
export function timeTicks(splits: readonly number[], increment: number): string[] {
  return splits.map((seconds) => {
    const at = new Date(seconds * 1_000);
    const clock = `${pad(at.getHours())}:${pad(at.getMinutes())}`;
    if (increment >= 28 * 86_400) return `${MONTHS[at.getMonth()]} ${at.getFullYear()}`;
    if (increment >= 86_400 || clock === '00:00') return `${at.getDate()} ${MONTHS[at.getMonth()]}`;
    return increment < 60 ? `${clock}:${pad(at.getSeconds())}` : clock;
  });
}
