import { restartServices, restartTime } from './services.ts';
import type { Step } from './step.ts';

/** Has the services take up the release, and proves it. `activate` undoes it: the link goes back before the server looks. */
export const restart: Step = {
  name: 'restart',
  title: 'Restart the services and prove the release',
  orphan: 'finish',
  run: (site) => restartServices(site),
  extraTime: restartTime,
};
