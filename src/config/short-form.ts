/** What `siteadd` writes for a domain, and what the short form `domain: repository` stands for. */
export function writtenOut(
  domain: string,
  repository: string,
  deployPath = `/var/www/sites/${domain}`,
) {
  return {
    repository,
    branch: 'main',
    deploy_path: deployPath,
    backup_path: `${deployPath.replace(/\/+$/, '')}/backups`,
  } as const;
}
