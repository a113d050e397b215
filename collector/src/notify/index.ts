/** Telling: channels, and what sees to it that each is told what it should be. */
export { channelsOption, createChannels, type ChannelConfig } from './channels/index.ts';
export type { NotifyChannel } from './lane.ts';
export { Notifier, type NotifierOptions } from './notifier.ts';
export { channelRoutes } from './routes.ts';
export { toldViews } from './telling.ts';
