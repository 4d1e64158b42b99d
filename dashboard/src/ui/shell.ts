// The chunk around the views; it is loaded after the first paint.
export { default as Attention } from '../panels/Attention.svelte';
export { default as Beyond } from './Beyond.svelte';
export { default as Drawer } from './Drawer.svelte';
export { default as Export } from './Export.svelte';
export { default as Help } from './Help.svelte';
export { default as More } from './More.svelte';
export { default as Notes } from './Notes.svelte';
export { default as Palette } from './Palette.svelte';
export { default as Places } from './Places.svelte';
export { default as SignIn } from './SignIn.svelte';
export { default as SideBlocks } from './SideBlocks.svelte';
export { default as Suggest } from './Suggest.svelte';
export { shell } from './shell.svelte';
