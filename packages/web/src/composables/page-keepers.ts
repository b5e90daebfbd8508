/** Each says whether something goes on that would end if the page were loaded anew, and that the page itself does not show. */
export const pageKeepers = new Set<() => boolean>();
