// The chunk that shows traces; it is loaded when the first of them is needed.
export { default as Followed } from './Followed.svelte';
export { default as TracePage } from './TracePage.svelte';
export { default as TraceList } from './TraceList.svelte';
