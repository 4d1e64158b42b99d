// The chunk that takes the page through time; the page asks for it as soon as it is there itself.
export { default as Dock } from './Dock.svelte';
