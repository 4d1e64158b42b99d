// The chunk of the views that are not needed at first; it is loaded with the first of them.
export { default as AgentsPage } from './AgentsPage.svelte';
export { default as DecisionsPage } from './DecisionsPage.svelte';
export { default as FailuresPage } from './FailuresPage.svelte';
export { default as Hierarchy } from './Hierarchy.svelte';
