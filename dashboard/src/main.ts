import { mount } from 'svelte';
import App from './App.svelte';
import { app } from './app.svelte';
import './style/fonts.css';
import './style/tokens.css';
import './style/base.css';

const target = document.getElementById('app');
if (target !== null) {
  mount(App, { target });
  app.start();
}
