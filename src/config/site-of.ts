import type { Settings } from './schema.ts';
import type { Site } from './site.ts';

/** The site that settings without faults describe. */
export function siteOf(name: string, settings: Settings): Site {
  return {
    name,
    repository: settings.repository,
    branch: settings.branch,
    deployPath: settings.deploy_path,
    venv: settings.venv,
    ...targetOf(settings),
    forwardAgent: settings.forward_agent,
    backupPath: settings.backup_path,
    maxBackups: settings.max_backups,
    maxReleases: settings.max_releases,
    sharedFiles: settings.shared_files,
    sharedDirs: settings.shared_dirs,
    writableDirs: settings.writable_dirs,
    writableChmodMode: settings.writable_chmod_mode,
    writableRecursive: settings.writable_recursive,
    writableUseSudo: settings.writable_use_sudo,
    projectPath: settings.project_path,
    requirements: settings.requirements,
    python: settings.python,
    env: settings.env,
    envFile: settings.env_file,
    wsgi: settings.wsgi,
    restart: settings.restart,
    healthCheck: settings.health_check && {
      ...settings.health_check,
      host: settings.health_check.host ?? name,
    },
    hooks: settings.hooks,
    commands: settings.commands,
    timeouts: settings.timeouts,
  };
}

/** The keys that say where a site is deployed to. */
export const TARGET_KEYS = [
  'runner',
  'host',
  'user',
  'port',
  'docker_container',
  'docker_user',
] as const;

export type Target = Pick<
  Site,
  'runner' | 'host' | 'user' | 'port' | 'dockerContainer' | 'dockerUser'
>;

/** Where a site is deployed to: `ssh` where only a host is given. */
export function targetOf(settings: Pick<Settings, (typeof TARGET_KEYS)[number]>): Target {
  const { host: address, docker_container: dockerContainer, docker_user: dockerUser } = settings;
  return {
    runner: settings.runner ?? (address !== undefined ? 'ssh' : 'local'),
    host: address?.host,
    user: address?.user ?? settings.user,
    port: address?.port ?? settings.port,
    dockerContainer,
    dockerUser,
  };
}
