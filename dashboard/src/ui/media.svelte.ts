import { MediaQuery } from 'svelte/reactivity';

const phone = new MediaQuery('max-width: 720px');

export const media = {
  get phone(): boolean {
    return phone.current;
  },
};
